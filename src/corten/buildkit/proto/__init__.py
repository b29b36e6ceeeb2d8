"""BuildKit's messages: schema files of ours, and the modules that script/protos makes of them."""
