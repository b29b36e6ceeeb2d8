FROM x
HEALTHCHECK --interval=5 CMD true
