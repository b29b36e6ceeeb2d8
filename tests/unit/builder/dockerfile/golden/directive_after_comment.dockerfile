# just words
# escape=`
FROM scratch
RUN echo a \
  b
