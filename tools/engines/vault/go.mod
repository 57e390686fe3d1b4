module github.com/aplomb-dev/aplomb/tools/engines/vault

go 1.26.0

require (
	github.com/hashicorp/vault v1.19.5
	github.com/hashicorp/vault/sdk v0.17.0
)

tool (
	github.com/hashicorp/vault
	github.com/hashicorp/vault/plugins/database/postgresql/postgresql-database-plugin
)
