# Made by: cambio connect gcp-prod
# So that Google Cloud trusts the assertions of https://id.acme.example. Review it before you apply it:
# - Each sub is compared for equality, by the provider's condition and by each binding. Nobody else of this issuer gets in.
# - What a service account may do is not here.
# - Google must reach https://id.acme.example/.well-known/openid-configuration and the keys that it names, from the Internet.
# - A boundary narrows what reports@prod.acme.com.iam.gserviceaccount.com may do in Cloud Storage, in buckets with uniform access; it gives nothing.
# - deploy@acme-prod.iam.gserviceaccount.com logs in to the postgres at 10.1.2.3 as deploy@acme-prod.iam: it needs roles/cloudsql.instanceUser, the instance needs IAM authentication on, and the database that user.

# If the pool exists already, import it, or take this block out and write its id below.
resource "google_iam_workload_identity_pool" "cambio" {
  project                   = "123456789012"
  workload_identity_pool_id = "cambio"
}

resource "google_iam_workload_identity_pool_provider" "cambio" {
  project                            = "123456789012"
  workload_identity_pool_id          = google_iam_workload_identity_pool.cambio.workload_identity_pool_id
  workload_identity_pool_provider_id = "gateway"
  attribute_mapping = {
    "google.subject" = "assertion.sub"
  }
  attribute_condition = "assertion.sub in ['spiffe://id.acme.example/github/9919/1', 'spiffe://id.acme.example/github/9919/2']"
  oidc {
    issuer_uri        = "https://id.acme.example"
    allowed_audiences = ["https://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/providers/gateway"]
  }
}

# chain
resource "google_service_account_iam_member" "cambio_acme_prod" {
  service_account_id = "projects/-/serviceAccounts/acme-prod@appspot.gserviceaccount.com"
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:middle@acme-prod.iam.gserviceaccount.com"
}

# orders, payments, shadow
resource "google_service_account_iam_member" "cambio_deploy" {
  service_account_id = "projects/acme-prod/serviceAccounts/deploy@acme-prod.iam.gserviceaccount.com"
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/spiffe://id.acme.example/github/9919/1"
}

# shadow; in mode shadow only: nothing is issued by it yet
resource "google_service_account_iam_member" "cambio_deploy_2" {
  service_account_id = "projects/acme-prod/serviceAccounts/deploy@acme-prod.iam.gserviceaccount.com"
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/spiffe://id.acme.example/github/9919/2"
}

# chain
resource "google_service_account_iam_member" "cambio_final" {
  service_account_id = "projects/acme-prod/serviceAccounts/final@acme-prod.iam.gserviceaccount.com"
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:acme-prod@appspot.gserviceaccount.com"
}

# chain
resource "google_service_account_iam_member" "cambio_middle" {
  service_account_id = "projects/acme-prod/serviceAccounts/middle@acme-prod.iam.gserviceaccount.com"
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/spiffe://id.acme.example/github/9919/1"
}

# payments
resource "google_service_account_iam_member" "cambio_reports" {
  service_account_id = "projects/acme.com:prod/serviceAccounts/reports@prod.acme.com.iam.gserviceaccount.com"
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/spiffe://id.acme.example/github/9919/1"
}

# Without a service account: grant roles to these members.
locals {
  cambio_direct = [
    "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/spiffe://id.acme.example/github/9919/2", # direct
  ]
}
