from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_TRAIN: _ClassVar[Kind]
    KIND_SHARE: _ClassVar[Kind]
    KIND_MASK: _ClassVar[Kind]
    KIND_CONFIRM: _ClassVar[Kind]
    KIND_UNMASK: _ClassVar[Kind]
    KIND_KEYS: _ClassVar[Kind]

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    STATE_GATHERING: _ClassVar[State]
    STATE_TRAINING: _ClassVar[State]
    STATE_FINISHED: _ClassVar[State]
    STATE_FAILED: _ClassVar[State]

class FailureKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_UNSPECIFIED: _ClassVar[FailureKind]
    FAILURE_REFUSED: _ClassVar[FailureKind]
    FAILURE_DATA: _ClassVar[FailureKind]
    FAILURE_MEMORY: _ClassVar[FailureKind]
    FAILURE_SESSION: _ClassVar[FailureKind]
    FAILURE_UNEXPECTED: _ClassVar[FailureKind]

class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CODE_UNSPECIFIED: _ClassVar[Code]
    CODE_MALFORMED: _ClassVar[Code]
    CODE_UNSIGNED: _ClassVar[Code]
    CODE_SKEWED: _ClassVar[Code]
    CODE_REPLAYED: _ClassVar[Code]
    CODE_REVOKED: _ClassVar[Code]
    CODE_FORBIDDEN: _ClassVar[Code]
    CODE_UNKNOWN: _ClassVar[Code]
    CODE_SLOW: _ClassVar[Code]
    CODE_CONFLICT: _ClassVar[Code]
    CODE_GONE: _ClassVar[Code]
    CODE_TOO_LARGE: _ClassVar[Code]
    CODE_UPGRADE: _ClassVar[Code]
    CODE_TOO_MANY: _ClassVar[Code]
    CODE_BUSY: _ClassVar[Code]
KIND_UNSPECIFIED: Kind
KIND_TRAIN: Kind
KIND_SHARE: Kind
KIND_MASK: Kind
KIND_CONFIRM: Kind
KIND_UNMASK: Kind
KIND_KEYS: Kind
STATE_UNSPECIFIED: State
STATE_GATHERING: State
STATE_TRAINING: State
STATE_FINISHED: State
STATE_FAILED: State
FAILURE_UNSPECIFIED: FailureKind
FAILURE_REFUSED: FailureKind
FAILURE_DATA: FailureKind
FAILURE_MEMORY: FailureKind
FAILURE_SESSION: FailureKind
FAILURE_UNEXPECTED: FailureKind
CODE_UNSPECIFIED: Code
CODE_MALFORMED: Code
CODE_UNSIGNED: Code
CODE_SKEWED: Code
CODE_REPLAYED: Code
CODE_REVOKED: Code
CODE_FORBIDDEN: Code
CODE_UNKNOWN: Code
CODE_SLOW: Code
CODE_CONFLICT: Code
CODE_GONE: Code
CODE_TOO_LARGE: Code
CODE_UPGRADE: Code
CODE_TOO_MANY: Code
CODE_BUSY: Code

class Blob(_message.Message):
    __slots__ = ("sha256", "size")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size: int
    def __init__(self, sha256: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class NamedBlob(_message.Message):
    __slots__ = ("name", "blob", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    blob: Blob
    data: bytes
    def __init__(self, name: _Optional[str] = ..., blob: _Optional[_Union[Blob, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class Enrol(_message.Message):
    __slots__ = ("token", "name", "key")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    token: str
    name: str
    key: bytes
    def __init__(self, token: _Optional[str] = ..., name: _Optional[str] = ..., key: _Optional[bytes] = ...) -> None: ...

class Enrolled(_message.Message):
    __slots__ = ("name", "authority", "certificate")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    authority: bytes
    certificate: bytes
    def __init__(self, name: _Optional[str] = ..., authority: _Optional[bytes] = ..., certificate: _Optional[bytes] = ...) -> None: ...

class CheckIn(_message.Message):
    __slots__ = ("incarnation", "terms", "approval", "version", "engine", "wait_ms", "working", "note")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    WORKING_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    incarnation: str
    terms: str
    approval: bytes
    version: str
    engine: str
    wait_ms: int
    working: _containers.RepeatedScalarFieldContainer[str]
    note: str
    def __init__(self, incarnation: _Optional[str] = ..., terms: _Optional[str] = ..., approval: _Optional[bytes] = ..., version: _Optional[str] = ..., engine: _Optional[str] = ..., wait_ms: _Optional[int] = ..., working: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("id", "kind", "round", "attempt", "for_ms", "limit", "payload", "blobs")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FOR_MS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: Kind
    round: int
    attempt: int
    for_ms: int
    limit: int
    payload: bytes
    blobs: _containers.RepeatedCompositeFieldContainer[NamedBlob]
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[Kind, str]] = ..., round: _Optional[int] = ..., attempt: _Optional[int] = ..., for_ms: _Optional[int] = ..., limit: _Optional[int] = ..., payload: _Optional[bytes] = ..., blobs: _Optional[_Iterable[_Union[NamedBlob, _Mapping]]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("round", "attempt", "counted")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    round: int
    attempt: int
    counted: bool
    def __init__(self, round: _Optional[int] = ..., attempt: _Optional[int] = ..., counted: bool = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("state", "round", "rounds", "assignments", "terms", "outcome", "model", "wait_ms", "said")
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    SAID_FIELD_NUMBER: _ClassVar[int]
    state: State
    round: int
    rounds: int
    assignments: _containers.RepeatedCompositeFieldContainer[Assignment]
    terms: Blob
    outcome: Outcome
    model: Blob
    wait_ms: int
    said: str
    def __init__(self, state: _Optional[_Union[State, str]] = ..., round: _Optional[int] = ..., rounds: _Optional[int] = ..., assignments: _Optional[_Iterable[_Union[Assignment, _Mapping]]] = ..., terms: _Optional[_Union[Blob, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ..., model: _Optional[_Union[Blob, _Mapping]] = ..., wait_ms: _Optional[int] = ..., said: _Optional[str] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("kind", "text")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    kind: FailureKind
    text: str
    def __init__(self, kind: _Optional[_Union[FailureKind, str]] = ..., text: _Optional[str] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("again", "reply")
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    again: bool
    reply: Reply
    def __init__(self, again: bool = ..., reply: _Optional[_Union[Reply, _Mapping]] = ...) -> None: ...

class Withdrawal(_message.Message):
    __slots__ = ("counted", "remains")
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    REMAINS_FIELD_NUMBER: _ClassVar[int]
    counted: int
    remains: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, counted: _Optional[int] = ..., remains: _Optional[_Iterable[str]] = ...) -> None: ...

class Upload(_message.Message):
    __slots__ = ("assignment", "length", "sha256")
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    assignment: str
    length: int
    sha256: str
    def __init__(self, assignment: _Optional[str] = ..., length: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class Uploaded(_message.Message):
    __slots__ = ("id", "offset", "length", "chunk")
    ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    id: str
    offset: int
    length: int
    chunk: int
    def __init__(self, id: _Optional[str] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., chunk: _Optional[int] = ...) -> None: ...

class Time(_message.Message):
    __slots__ = ("now_ms", "speaks", "version")
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    SPEAKS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    now_ms: int
    speaks: _containers.RepeatedScalarFieldContainer[str]
    version: str
    def __init__(self, now_ms: _Optional[int] = ..., speaks: _Optional[_Iterable[str]] = ..., version: _Optional[str] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("code", "problem", "remedy", "after_ms", "server_time_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    SERVER_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    code: Code
    problem: str
    remedy: str
    after_ms: int
    server_time_ms: int
    def __init__(self, code: _Optional[_Union[Code, str]] = ..., problem: _Optional[str] = ..., remedy: _Optional[str] = ..., after_ms: _Optional[int] = ..., server_time_ms: _Optional[int] = ...) -> None: ...
