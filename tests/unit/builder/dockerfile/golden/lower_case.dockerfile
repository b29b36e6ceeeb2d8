from busybox as Base
run true
cmd ["x"]
