FROM scratch
COPY x <<EOF
EOF
