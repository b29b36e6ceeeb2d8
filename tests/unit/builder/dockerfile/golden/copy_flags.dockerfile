FROM scratch
COPY --from=0 --chown=1000:1000 --chmod=u+rwX,go=rX --link --parents --exclude=*.txt --exclude=b/** a/./b c/ /dest/
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/x.tar.gz /
ADD --keep-git-dir=true --link=false --unpack=false git@github.com:moby/buildkit.git#v0.10:util /src
COPY --chown="a b" x y
