FROM scratch
ADD
