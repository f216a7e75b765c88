# Made by: cambio connect azure-prod
# So that the applications and managed identities below trust the assertions of https://id.acme.example. Review it before you apply it:
# - Each subject is compared for equality, case by case. Whoever is listed gets tokens of the application; nobody else of this issuer can.
# - What an application may do is not here: give it roles and permissions for the scopes that it is granted, and no more.
# - Entra must reach https://id.acme.example/.well-known/openid-configuration and the keys that it names, from the Internet.
# - A new credential takes some minutes to work. Make them one after the other: Entra refuses some that are made at once.
# - This is for applications (hashicorp/azuread 3). For a managed identity take the block in comments instead (hashicorp/azurerm 4).

# Trusts: backup-verify. Scopes: https://storage.azure.com/.default
data "azuread_application" "cambio_0a0a0a0a_1111_4222_8333_444444444444" {
  client_id = "0a0a0a0a-1111-4222-8333-444444444444"
}

resource "azuread_application_federated_identity_credential" "cambio_trust_backup_verify_d01244c1_0a0a0a0a" {
  application_id = data.azuread_application.cambio_0a0a0a0a_1111_4222_8333_444444444444.id
  display_name   = "cambio-trust-backup-verify-d01244c1"
  description    = "Cambio: backup-verify"
  audiences      = ["api://AzureADTokenExchange"]
  issuer         = "https://id.acme.example"
  subject        = "spiffe://id.acme.example/trust/backup-verify"
}
# resource "azurerm_federated_identity_credential" "cambio_trust_backup_verify_d01244c1_0a0a0a0a" {
#   name                = "cambio-trust-backup-verify-d01244c1"
#   resource_group_name = "..."
#   parent_id           = "..." # id of the azurerm_user_assigned_identity
#   audience            = ["api://AzureADTokenExchange"]
#   issuer              = "https://id.acme.example"
#   subject             = "spiffe://id.acme.example/trust/backup-verify"
# }
