FROM scratch
COPY --link= x y
