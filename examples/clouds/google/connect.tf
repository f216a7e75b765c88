# Made by: cambio connect gcp-prod
# So that Google Cloud trusts the assertions of https://id.acme.example. Review it before you apply it:
# - Each sub is compared for equality, by the provider's condition and by each binding. Nobody else of this issuer gets in.
# - What a service account may do is not here.
# - Google must reach https://id.acme.example/.well-known/openid-configuration and the keys that it names, from the Internet.

# If the pool exists already, import it, or take this block out and write its id below.
resource "google_iam_workload_identity_pool" "cambio" {
  project                   = "123456789012"
  workload_identity_pool_id = "cambio"
}

resource "google_iam_workload_identity_pool_provider" "cambio" {
  project                            = "123456789012"
  workload_identity_pool_id          = google_iam_workload_identity_pool.cambio.workload_identity_pool_id
  workload_identity_pool_provider_id = "cambio"
  attribute_mapping = {
    "google.subject" = "assertion.sub"
  }
  attribute_condition = "assertion.sub in ['spiffe://id.acme.example/trust/site-publish']"
  oidc {
    issuer_uri        = "https://id.acme.example"
    allowed_audiences = ["https://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/providers/cambio"]
  }
}

# site-publish
resource "google_service_account_iam_member" "cambio_site_publish" {
  service_account_id = "projects/acme-prod/serviceAccounts/site-publish@acme-prod.iam.gserviceaccount.com"
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/spiffe://id.acme.example/trust/site-publish"
}
