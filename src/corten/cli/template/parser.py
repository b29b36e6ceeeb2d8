"""Tokens to nodes."""

from __future__ import annotations

from corten.cli.template import nodes
from corten.cli.template.lexer import TemplateError, Token, split

_CONSTANTS = {"true": True, "false": False, "nil": None}
_BLOCKS = ("if", "with", "range")
_UNSUPPORTED = ("define", "template", "block")


def parse(source: str) -> list[nodes.Statement]:
    """The statements of a template. Raises TemplateError."""
    parser = _Parser(split(source))
    body, end = parser.body()
    if end:
        raise TemplateError(f"unexpected {{{{{end[0].text}}}}}")
    return body


class _Parser:
    def __init__(self, pieces: list[str | list[Token]]) -> None:
        self._pieces = iter(pieces)

    def body(self) -> tuple[list[nodes.Statement], list[Token]]:
        """Statements up to `else` or `end` (given as its tokens) or to the end of all (no tokens)."""
        found: list[nodes.Statement] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                found.append(nodes.Text(piece))
                continue
            if not piece:
                raise TemplateError("missing value for command")
            word = piece[0].text if piece[0].kind == "name" else ""
            if word in ("else", "end"):
                return found, piece
            if word in _UNSUPPORTED:
                raise TemplateError(f"{{{{{word}}}}} is not supported")
            if word in _BLOCKS:
                found.append(self._block(word, piece[1:]))
            elif word in ("break", "continue") and len(piece) == 1:
                found.append(nodes.Leave(word))
            else:
                found.append(nodes.Output(pipeline(piece)))
        return found, []

    def _block(self, word: str, tokens: list[Token]) -> nodes.Statement:
        condition = pipeline(tokens, in_range=word == "range")
        body, end = self.body()
        otherwise: list[nodes.Statement] = []
        if end and end[0].text == "else":
            if len(end) > 1 and end[1].text in ("if", "with"):
                otherwise = [self._block(end[1].text, end[2:])]
                return _made(word, condition, body, otherwise)
            otherwise, end = self.body()
        if not end or end[0].text != "end":
            raise TemplateError("unexpected EOF" if not end else "expected end; found {{else}}")
        return _made(word, condition, body, otherwise)


def _made(
    word: str, condition: nodes.Pipeline, body: list[nodes.Statement], otherwise: list[nodes.Statement]
) -> nodes.Statement:
    if word == "range":
        return nodes.Range(condition, body, otherwise)
    return nodes.Conditional(condition, body, otherwise, moves_dot=word == "with")


def pipeline(tokens: list[Token], *, in_range: bool = False) -> nodes.Pipeline:
    """A whole pipeline."""
    variables, declares, tokens = _assignment(tokens, in_range)
    found, rest = _pipeline(tokens)
    if rest:
        raise TemplateError(f"unexpected {rest[0].text!r} in command")
    return nodes.Pipeline(found, variables, declares=declares)


def _assignment(tokens: list[Token], in_range: bool) -> tuple[list[str], bool, list[Token]]:
    shape = [t.kind if t.kind == "variable" else t.text for t in tokens[:4]]
    for sign in (":=", "="):
        if shape[:2] == ["variable", sign]:
            return [tokens[0].text], sign == ":=", tokens[2:]
        if in_range and shape == ["variable", ",", "variable", sign]:
            return [tokens[0].text, tokens[2].text], sign == ":=", tokens[4:]
    return [], True, tokens


def _pipeline(tokens: list[Token]) -> tuple[list[nodes.Call], list[Token]]:
    """Commands up to the end or to a closing parenthesis."""
    commands = []
    while True:
        operands: list[nodes.Expression] = []
        while (tokens and tokens[0].text not in ("|", ")")) or (tokens and tokens[0].kind != "punct"):
            operand, tokens = _operand(tokens)
            operands.append(operand)
        if not operands:
            raise TemplateError("missing value for command")
        commands.append(nodes.Call(operands[0], operands[1:]))
        if not tokens or tokens[0].text == ")":
            return commands, tokens
        tokens = tokens[1:]


def _operand(tokens: list[Token]) -> tuple[nodes.Expression, list[Token]]:
    token, tokens = tokens[0], tokens[1:]
    column = token.column
    found: nodes.Expression
    names: list[str] = []
    if token.kind == "field":
        found, names = nodes.Dot(), [token.text]
    elif token.kind == "dot":
        found = nodes.Dot()
    elif token.kind == "variable":
        found = nodes.Variable(token.text)
    elif token.kind in ("string", "number"):
        found = nodes.Literal(token.value)
    elif token.kind == "name":
        constant = token.text in _CONSTANTS
        found = nodes.Literal(_CONSTANTS[token.text]) if constant else nodes.Function(token.text, column)
    elif token.text == "(":
        commands, tokens = _pipeline(tokens)
        if not tokens:
            raise TemplateError("unclosed left paren")
        found, tokens = nodes.Pipeline(commands, []), tokens[1:]
    else:
        raise TemplateError(f"unexpected {token.text!r} in operand")
    while tokens and tokens[0].kind == "field" and tokens[0].glued:
        names.append(tokens[0].text)
        tokens = tokens[1:]
    return (nodes.Fields(found, names, column) if names else found), tokens
