FROM busybox
RUN echo a \
  b
RUN <<EOF
echo c
EOF
