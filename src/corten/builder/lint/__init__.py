"""The build checks (`docker build --check`): what works but should be changed.

`text` looks at what is written, `variables` at what names mean where they are used; `check` runs both over a
file. Rules and their names: `corten.builder.dockerfile.rules`.
"""
