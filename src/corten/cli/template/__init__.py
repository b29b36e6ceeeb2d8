"""Go's text/template, as far as `--format` needs it: fields, pipelines, variables, if, with, range.

lexer      text to texts and actions' tokens
parser     tokens to nodes
nodes      what a template does: expressions have values, statements write
functions  Go's built-in functions and Docker's (json, join, upper, …), and how values print
render     what commands use
"""
