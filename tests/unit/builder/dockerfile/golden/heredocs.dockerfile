FROM busybox
RUN <<EOF
echo one
echo $two
EOF
RUN <<-EOF
	echo tabs
		gone
	EOF
RUN python3 <<'PY' > /out
print("$no")
PY
COPY <<one.txt <<"two.txt" /dest/
1
one.txt
2
two.txt
COPY a <<-b ./c d/
	B
b
RUN 3<<X cat <&3
x
X
ADD ["<<notheredoc", "/x"]
RUN cat <<< "not a heredoc" && echo $((1<<2))
ONBUILD RUN <<EOT
echo triggered
EOT
