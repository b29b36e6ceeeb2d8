FROM scratch
RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=tok,env=TOKEN --network=none make
RUN --security=insecure --device=vendor.com/dev=x --device=y,required=false true
RUN -- --not-a-flag
RUN --mount=type=bind,source=a,"target=/b c" ls
