FROM x
HEALTHCHECK --retries=1_0 CMD foo
