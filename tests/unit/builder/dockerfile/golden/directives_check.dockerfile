#syntax = docker/dockerfile:1-labs
# check=skip=StageNameCasing,JSONArgsRecommended;error=true
# unknown=ends them
# escape=`
FROM scratch
# escape=`
LABEL a=b
