# Made by: cambio connect vault-prod
# So that the roles below trust the assertions of https://id.acme.example. Review it before you apply it:
# - Each sub is compared for equality. Whoever is listed can log in to the role; nobody else of this issuer can.
# - A token lives as long as the shortest grant of its role says, and cannot be renewed beyond (token_explicit_max_ttl).
# - The policies themselves are not here.
# - Vault must reach https://id.acme.example/.well-known/openid-configuration and the keys that it names.

# If the method exists already, import it; it takes the tokens of this one issuer.
resource "vault_jwt_auth_backend" "cambio" {
  path               = "jwt"
  type               = "jwt"
  oidc_discovery_url = "https://id.acme.example"
  bound_issuer       = "https://id.acme.example"
  jwt_supported_algs = ["RS256"]
}

# For: ledger-secrets
resource "vault_jwt_auth_backend_role" "cambio_ledger" {
  backend                 = vault_jwt_auth_backend.cambio.path
  role_name               = "ledger"
  role_type               = "jwt"
  user_claim              = "sub"
  bound_audiences         = ["https://vault.acme.example"]
  bound_claims_type       = "string"
  bound_claims            = { sub = "spiffe://id.acme.example/cluster/ns/payments/sa/ledger" }
  token_type              = "service"
  token_policies          = ["ledger-read"]
  token_no_default_policy = true
  token_ttl               = 900
  token_max_ttl           = 900
  token_explicit_max_ttl  = 900
}
