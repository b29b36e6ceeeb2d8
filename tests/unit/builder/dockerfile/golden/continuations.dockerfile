FROM debian
# a comment
RUN apt-get update && \
    # comment inside a continuation
    apt-get install -y \

    curl \
      \
    ca-certificates \   
 && rm -rf /var/lib/apt/lists/*
RUN echo trailing\\
RUN echo one; \
    echo two
