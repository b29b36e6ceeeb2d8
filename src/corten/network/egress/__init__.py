"""What containers may reach outside: `--egress deny|allow=...` of a network or a container. Not Docker's.

policy    the words of it
ruleset   policies as nf_tables text: a pure function
keeper    the tables in the kernel, and what they have refused

Two tables of ours, there only if a policy is: `inet <table>_egress` judges what leaves a network's bridge,
whether for the outside or for the host itself; `bridge <table>_guard` sees to it that containers with a
policy of their own send from no addresses but their own, for it is by these that the first one knows them.
Addresses of allowed names are put into its sets by netd (`corten.supervisor.netd.egress`) before it answers.
"""
