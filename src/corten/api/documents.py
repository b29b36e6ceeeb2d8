"""JSON of requests → Structs, as forgiving as Go's encoding/json, with its words for errors.

The straight way is one typed decode. Only if that fails, or a name is written otherwise than we do, the
document is read again without types and put right where Go would accept it: null for anything, one string
for a list of strings (strslice), names in any case, but none in two. Unknown fields are ignored.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeVar, cast

import msgspec
from msgspec import inspect

from corten.errors import InvalidParameter
from corten.types.container import CreateRequest
from corten.types.document import STR_SLICE

T = TypeVar("T")


def decode(data: bytes, document: type[T]) -> T:
    """The document. Raises InvalidParameter."""
    if not data:
        raise InvalidParameter("invalid JSON: got EOF while reading request body")
    try:
        decoded = _decoder(document).decode(data)
        if not _written_otherwise(data, document):
            return decoded
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidParameter(_go_syntax(str(error))) from None
    try:
        forgiven = _forgive(msgspec.json.decode(data), inspect.type_info(document))
        return msgspec.convert({} if forgiven is None else forgiven, document)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"invalid JSON: {_go_text(str(error), document)}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidParameter(_go_syntax(str(error))) from None


_decoders: dict[object, msgspec.json.Decoder[object]] = {}


def _decoder(document: type[T]) -> msgspec.json.Decoder[T]:
    decoder = _decoders.get(document)
    if decoder is None:
        decoder = _decoders[document] = msgspec.json.Decoder(document)
    return cast(msgspec.json.Decoder[T], decoder)


# Whatever Go may take for one of our names: it folds some letters beyond ASCII to ASCII ones, too.
_NAMES = re.compile(rb'"([A-Za-z0-9\x80-\xff]+)"\s*:')


def _written_otherwise(data: bytes, document: type) -> bool:
    """Whether one of the document's names seems to be there in another case, or spelt by escapes."""
    if b"\\u" in data:
        return True
    names, folded = _names(document)
    others = set(_NAMES.findall(data)) - names
    return bool(others) and not folded.isdisjoint(map(_folded, others))


def _folded(name: bytes) -> str:
    return name.decode(errors="replace").casefold()


@lru_cache(maxsize=64)
def _names(document: type) -> tuple[frozenset[bytes], frozenset[str]]:
    """All names in a document and the documents in it; and folded, as those that are not case-sensitive."""
    found: set[str] = set()
    waiting: list[inspect.Type] = [inspect.type_info(document)]
    seen: set[type] = set()
    while waiting:
        schema = waiting.pop()
        if isinstance(schema, inspect.StructType) and schema.cls not in seen:
            seen.add(schema.cls)
            found |= {field.encode_name for field in schema.fields}
            waiting += [field.type for field in schema.fields]
        elif isinstance(schema, inspect.UnionType):
            waiting += schema.types
        elif isinstance(schema, inspect.ListType):
            waiting.append(schema.item_type)
        elif isinstance(schema, inspect.DictType):
            waiting.append(schema.value_type)
        elif isinstance(schema, inspect.Metadata):
            waiting.append(schema.type)
    return frozenset(name.encode() for name in found), frozenset(name.casefold() for name in found)


def _forgive(value: object, schema: inspect.Type) -> object:
    if isinstance(schema, inspect.Metadata):
        if isinstance(value, str) and (schema.extra or {}).get(STR_SLICE):
            return [value]
        return _forgive(value, schema.type)
    if isinstance(schema, inspect.UnionType):
        some = [t for t in schema.types if not isinstance(t, inspect.NoneType)]
        return _forgive(value, some[0]) if len(some) == 1 and value is not None else value
    if isinstance(schema, inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name.casefold(): field for field in schema.fields}
        found = [(fields.get(name.casefold()), member) for name, member in value.items()]
        named = [field.encode_name for field, _ in found if field is not None]
        if len(set(named)) != len(named):
            # Go would merge them. Whoever else reads the document must not find another meaning in it.
            raise InvalidParameter(f"invalid JSON: {_repeated(named)} is there more than once")
        return {
            field.encode_name: _forgive(member, field.type)
            for field, member in found
            if field is not None and (member is not None or _takes_null(field.type))
        }
    if isinstance(schema, inspect.DictType) and isinstance(value, dict):
        return {name: _forgive(member, schema.value_type) for name, member in value.items()}
    if isinstance(schema, inspect.ListType) and isinstance(value, list):
        return [_forgive(member, schema.item_type) for member in value]
    if isinstance(schema, inspect.StrType) and value is None:
        return ""
    return value


def _repeated(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def _takes_null(schema: inspect.Type) -> bool:
    if isinstance(schema, inspect.Metadata):
        return _takes_null(schema.type)
    return isinstance(schema, inspect.UnionType) and schema.includes_none


def _go_syntax(message: str) -> str:
    if "trailing characters" in message:
        return "unexpected content after JSON"
    return f"invalid JSON: {'unexpected EOF' if 'truncated' in message else message}"


_VALIDATION = re.compile(r"Expected `([^`]+)`, got `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_GO_NAMES = {"int": "int64", "str": "string", "object": "struct", "array": "slice", "float": "number"}
_JSON_NAMES = {"int": "number", "float": "number", "str": "string"}


def _go_text(message: str, document: type) -> str:
    match = _VALIDATION.match(message)
    if match is None:
        return f"json: {message}"
    wanted = next(name for name in match[1].split(" | ") if name != "null" or match[1] == "null")
    got = _JSON_NAMES.get(match[2], match[2])
    kind = _GO_NAMES.get(wanted, wanted)
    path = re.sub(r"\[[^]]*\]", "", match[3] or "")
    if not path:
        return f"json: cannot unmarshal {got} into Go value of type {kind}"
    field = f"{_go_struct(document, path)}.{path}"
    return f"json: cannot unmarshal {got} into Go struct field {field} of type {kind}"


def _go_struct(document: type, path: str) -> str:
    """Go's name for the struct, with the configuration embedded in it that a create request is."""
    if document is not CreateRequest:
        return document.__name__
    own = path.partition(".")[0] in ("HostConfig", "NetworkingConfig")
    return "ContainerConfigWrapper" if own else "ContainerConfigWrapper.Config"
