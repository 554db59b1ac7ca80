"""A Cloud KMS for one machine: the real gRPC API with google-cloud-kms's own messages, keys kept on disk.

It keeps to the documented contract (names, states, codes, checksums, limits, paging), so that the client
that reaches Google reaches it too. What nothing here calls is left out and answers UNIMPLEMENTED.
"""
