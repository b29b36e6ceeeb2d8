FROM x
RUN cat << EOF > /a; cat <<- 'B' >> /a
one
EOF
	two
	B
RUN echo $((1 << 2)) a <<
RUN << EOF
three
EOF
