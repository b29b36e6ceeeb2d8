FROM scratch
ENV a=b c='d e' f="g \"h\" $i" j=k\ l
ENV legacy value with spaces
ENV one=
ENV empty="" x=y=z
LABEL com.example.a=b "c d"="e f" multi="a\
b"
LABEL old style label
MAINTAINER Some One <a@example.com>
