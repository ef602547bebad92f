"""How what coordinator and participant say is written in bytes: protobuf, checked before anything is believed."""

from tacit.network.wire.codec import decode, encode
from tacit.network.wire.values import Enrol, Problem, Time, Upload, Uploaded

__all__ = ["Enrol", "Problem", "Time", "Upload", "Uploaded", "decode", "encode"]
