"""Compression: stages that make reports smaller on their way up."""

from tacit.aggregation.compression.codec import Codec
from tacit.aggregation.compression.quantise import Quantise
from tacit.aggregation.compression.random_k import RandomK
from tacit.aggregation.compression.rotate import Rotate
from tacit.aggregation.compression.sketch import CountSketch
from tacit.aggregation.compression.top_k import TopK

__all__ = ["Codec", "CountSketch", "Quantise", "RandomK", "Rotate", "TopK"]
