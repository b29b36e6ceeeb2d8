#syntax = docker/dockerfile:1-labs
# unknown=ignored
# check=skip=StageNameCasing,JSONArgsRecommended;error=true
FROM scratch
# escape=`
LABEL a=b
