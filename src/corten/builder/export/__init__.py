"""A build's result on its way out.

What a client asks for (`targets`) becomes of a result (`export`) in `exporters`: images (`publications`) or
files (`files`, `jobs`), which are told of and given to whoever has asked (`ports`; over HTTP: `handover`).
"""
