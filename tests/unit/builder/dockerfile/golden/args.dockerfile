ARG VERSION
ARG A=1 B="two words"
FROM base:${VERSION:-latest}
ARG VERSION
ARG a b=$A c='x y'
