"""Go's text/template, as far as `--format` needs it: pipelines, fields, variables, if, with, range, functions.

lexer      text to texts and actions' tokens
parser     tokens to nodes
nodes      what a template does: expressions have values, statements write
functions  Go's built-in functions and Docker's (json, join, upper, …), and how values print
render     what commands use
"""
