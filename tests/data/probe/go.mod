module sandbox.local/probe

go 1.21
