FROM scratch
RUN ["/bin/sh", "-c", "echo \"hi\" \u00e9"]
CMD ["one" "two"]
ENTRYPOINT [ "a" , "b" ]
CMD []
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
VOLUME ["/data", "/more data"]
VOLUME /a /b
COPY ["with space", "dest dir/"]
RUN [ -f /x ] && echo test
