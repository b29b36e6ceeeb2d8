FROM busybox
ABCDEFGH bar
