"""The Dockerfile language, as the reference of Dockerfile frontend 1.26 describes it.

    text ──lexer──► logical lines ──parser──► nodes with line ranges ──typed──► instructions
                                                                  stages: which belong to which stage
    shell: `$variables` and quoting      mounts: the value of `RUN --mount`      flags: `--name=value`

Nothing here touches a file or waits for anything; the only error raised is `DockerfileError`.
"""
