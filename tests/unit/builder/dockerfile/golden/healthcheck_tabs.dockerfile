FROM x
HEALTHCHECK --retries=3	CMD	foo  bar
