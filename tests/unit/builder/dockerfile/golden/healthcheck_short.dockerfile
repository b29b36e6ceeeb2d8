FROM x
HEALTHCHECK --interval=1us CMD true
