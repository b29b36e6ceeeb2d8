"""What a template is made of. Expressions have a value in a scope; statements write texts."""

from __future__ import annotations

from abc import ABC, abstractmethod

from corten.cli.table import Row
from corten.cli.template.functions import FUNCTIONS, text_of, truth
from corten.cli.template.lexer import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class Scope:
    """The dot, and the variables that can be seen; blocks work in a `child`."""

    __slots__ = ("_parent", "_variables", "dot")

    def __init__(self, dot: Any, parent: Scope | None = None) -> None:
        self.dot = dot
        self._parent = parent
        self._variables: dict[str, Any] = {} if parent else {"$": dot}

    def child(self, dot: Any) -> Scope:
        """A scope of a block."""
        return Scope(dot, self)

    def declare(self, name: str, value: Any) -> None:
        """`$x := …`."""
        self._variables[name] = value

    def assign(self, name: str, value: Any) -> None:
        """`$x = …`: the variable of the block that declared it."""
        self._owner(name)._variables[name] = value

    def get(self, name: str) -> Any:
        """The value of a variable."""
        return self._owner(name)._variables[name]

    def _owner(self, name: str) -> Scope:
        scope: Scope | None = self
        while scope is not None:
            if name in scope._variables:
                return scope
            scope = scope._parent
        raise TemplateError(f'undefined variable "{name}"')


class Expression(ABC):
    """Something with a value; a callable one takes the arguments that follow it in its command."""

    takes_arguments = False

    @abstractmethod
    def value(self, scope: Scope, arguments: tuple[Any, ...] = ()) -> Any:
        """The value in this scope."""


class Literal(Expression):
    """A constant."""

    def __init__(self, constant: Any) -> None:
        self._constant = constant

    def value(self, scope: Scope, arguments: tuple[Any, ...] = ()) -> Any:
        """The constant."""
        return self._constant


class Dot(Expression):
    """`.`."""

    def value(self, scope: Scope, arguments: tuple[Any, ...] = ()) -> Any:
        """What the dot is."""
        return scope.dot


class Variable(Expression):
    """`$x`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def value(self, scope: Scope, arguments: tuple[Any, ...] = ()) -> Any:
        """What the variable holds."""
        return scope.get(self._name)


class Fields(Expression):
    """`BASE.A.B`; the last one may be a method, which takes the command's arguments."""

    takes_arguments = True

    def __init__(self, base: Expression, names: list[str], column: int) -> None:
        self._base = base
        self._names = names
        self._column = column

    def value(self, scope: Scope, arguments: tuple[Any, ...] = ()) -> Any:
        """Walk along the fields."""
        here = self._base.value(scope)
        for name in self._names:
            here = self._step(here, name)
        if callable(here):
            return here(*arguments)
        if arguments:
            raise self._error(f"{self._names[-1]} has arguments but cannot be invoked as function")
        return here

    def _step(self, here: Any, name: str) -> Any:
        if here is None:
            raise self._error(f"nil pointer evaluating interface {{}}.{name}")
        if not isinstance(here, dict) or (name not in here and isinstance(here, Row)):
            raise self._error(f"can't evaluate field {name} in type {type(here).__name__}")
        if name not in here:
            raise self._error(f'map has no entry for key "{name}"')
        return here[name]

    def _error(self, what: str) -> TemplateError:
        return TemplateError(f'{self._column}: executing "" at <.{".".join(self._names)}>: {what}')


class Function(Expression):
    """A function by its name."""

    takes_arguments = True

    def __init__(self, name: str, column: int) -> None:
        self._column = column
        if name not in FUNCTIONS:
            raise TemplateError(f'function "{name}" not defined')
        self._name = name

    def value(self, scope: Scope, arguments: tuple[Any, ...] = ()) -> Any:
        """Call it."""
        try:
            return FUNCTIONS[self._name](*arguments)
        except (TypeError, LookupError, AttributeError) as e:
            problem = f'executing "" at <{self._name}>: error calling {self._name}: {e}'
            raise TemplateError(f"{self._column}: {problem}") from e


class Call(Expression):
    """A command: its first word, applied to the others and to what came through the pipe."""

    def __init__(self, head: Expression, arguments: list[Expression]) -> None:
        self._head = head
        self._arguments = arguments
        if arguments and not head.takes_arguments:
            raise TemplateError("can't give argument to non-function")

    def value(self, scope: Scope, arguments: tuple[Any, ...] = ()) -> Any:
        """The value of the command."""
        own = tuple(argument.value(scope) for argument in self._arguments)
        return self._head.value(scope, own + arguments)


class Pipeline(Expression):
    """Commands joined by `|`, perhaps kept in variables."""

    def __init__(self, commands: list[Call], variables: list[str], *, declares: bool = True) -> None:
        self.commands = commands
        self.variables = variables
        self.declares = declares

    def value(self, scope: Scope, arguments: tuple[Any, ...] = ()) -> Any:
        """The value of the last command; assigned if the pipeline assigns."""
        result = self.result(scope)
        for name in self.variables:
            (scope.declare if self.declares else scope.assign)(name, result)
        return result

    def result(self, scope: Scope) -> Any:
        """The value without any assignment."""
        result = self.commands[0].value(scope)
        for command in self.commands[1:]:
            result = command.value(scope, (result,))
        return result


class Statement(ABC):
    """Something that writes."""

    @abstractmethod
    def write(self, scope: Scope) -> Iterator[str]:
        """The texts it produces."""


class Text(Statement):
    """Plain text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def write(self, scope: Scope) -> Iterator[str]:
        """The text."""
        yield self._text


class Output(Statement):
    """`{{pipeline}}`: printed unless it assigns."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def write(self, scope: Scope) -> Iterator[str]:
        """The value's text."""
        value = self._pipeline.value(scope)
        if not self._pipeline.variables:
            yield text_of(value)


class Conditional(Statement):
    """`if` and `with`; `with` moves the dot."""

    def __init__(
        self, pipeline: Pipeline, body: list[Statement], otherwise: list[Statement], *, moves_dot: bool
    ) -> None:
        self._pipeline = pipeline
        self._body = body
        self._otherwise = otherwise
        self._moves_dot = moves_dot

    def write(self, scope: Scope) -> Iterator[str]:
        """The body, or what follows `else`."""
        inner = scope.child(scope.dot)
        value = self._pipeline.value(inner)
        if not truth(value):
            yield from write_all(self._otherwise, inner)
            return
        if self._moves_dot:
            inner.dot = value
        yield from write_all(self._body, inner)


class LoopControl(Exception):
    """`break` and `continue` on their way to their loop."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class Leave(Statement):
    """`{{break}}` or `{{continue}}`."""

    def __init__(self, word: str) -> None:
        self._word = word

    def write(self, scope: Scope) -> Iterator[str]:
        """Writes nothing and leaves the body."""
        raise LoopControl(self._word)


class Range(Statement):
    """`range`: over lists by index, over maps by key in order, over numbers from 0."""

    def __init__(self, pipeline: Pipeline, body: list[Statement], otherwise: list[Statement]) -> None:
        self._pipeline = pipeline
        self._body = body
        self._otherwise = otherwise

    def write(self, scope: Scope) -> Iterator[str]:
        """The body for every item, or what follows `else` if there is none."""
        items = self._items(self._pipeline.result(scope))
        if not items:
            yield from write_all(self._otherwise, scope.child(scope.dot))
        for key, item in items:
            inner = scope.child(item)
            names = self._pipeline.variables
            for name, value in zip(names, (key, item) if len(names) == 2 else (item,), strict=False):
                (inner.declare if self._pipeline.declares else inner.assign)(name, value)
            try:
                yield from write_all(self._body, inner)
            except LoopControl as e:
                if e.word == "break":
                    return

    def _items(self, value: Any) -> list[tuple[Any, Any]]:
        if value is None:
            return []
        if isinstance(value, dict):
            return sorted(value.items())
        if isinstance(value, list | tuple):
            return list(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return [(i, i) for i in range(value)]
        raise TemplateError(f"range can't iterate over {text_of(value)}")


def write_all(statements: list[Statement], scope: Scope) -> Iterator[str]:
    """What several statements write."""
    for statement in statements:
        yield from statement.write(scope)
