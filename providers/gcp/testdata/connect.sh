#!/bin/sh
# Made by: cambio connect gcp-prod
# So that Google Cloud trusts the assertions of https://id.acme.example. Review it before you apply it:
# - Each sub is compared for equality, by the provider's condition and by each binding. Nobody else of this issuer gets in.
# - What a service account may do is not here.
# - Google must reach https://id.acme.example/.well-known/openid-configuration and the keys that it names, from the Internet.
# A boundary narrows what reports@prod.acme.com.iam.gserviceaccount.com may do in Cloud Storage, in buckets with uniform access; it gives nothing.
# deploy@acme-prod.iam.gserviceaccount.com logs in to the postgres at 10.1.2.3 as deploy@acme-prod.iam: it needs roles/cloudsql.instanceUser, the instance needs IAM authentication on, and the database that user.
set -eu

if ! gcloud iam workload-identity-pools describe cambio --project=123456789012 --location=global >/dev/null 2>&1; then
  gcloud iam workload-identity-pools create cambio --project=123456789012 --location=global
fi
if gcloud iam workload-identity-pools providers describe gateway --project=123456789012 --location=global --workload-identity-pool=cambio --format=json >./gateway.before.json 2>/dev/null; then
  echo 'the provider gateway exists; what it lets in today is in ./gateway.before.json. If it is to be as here, run:' >&2
  echo '  gcloud iam workload-identity-pools providers update-oidc gateway --project=123456789012 --location=global --workload-identity-pool=cambio --issuer-uri=https://id.acme.example --allowed-audiences=https://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/providers/gateway --attribute-mapping=google.subject=assertion.sub --attribute-condition='\''assertion.sub in ['\''\'\'''\''spiffe://id.acme.example/github/9919/1'\''\'\'''\'', '\''\'\'''\''spiffe://id.acme.example/github/9919/2'\''\'\'''\'']'\''' >&2
else
  rm -f ./gateway.before.json
  gcloud iam workload-identity-pools providers create-oidc gateway --project=123456789012 --location=global --workload-identity-pool=cambio --issuer-uri=https://id.acme.example --allowed-audiences=https://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/providers/gateway --attribute-mapping=google.subject=assertion.sub --attribute-condition='assertion.sub in ['\''spiffe://id.acme.example/github/9919/1'\'', '\''spiffe://id.acme.example/github/9919/2'\'']'
fi

# chain
gcloud iam service-accounts add-iam-policy-binding acme-prod@appspot.gserviceaccount.com --role=roles/iam.serviceAccountTokenCreator --member=serviceAccount:middle@acme-prod.iam.gserviceaccount.com --condition=None --format=none

# orders, payments, shadow
gcloud iam service-accounts add-iam-policy-binding deploy@acme-prod.iam.gserviceaccount.com --project=acme-prod --role=roles/iam.workloadIdentityUser --member=principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/spiffe://id.acme.example/github/9919/1 --condition=None --format=none

# shadow; in mode shadow only: nothing is issued by it yet
gcloud iam service-accounts add-iam-policy-binding deploy@acme-prod.iam.gserviceaccount.com --project=acme-prod --role=roles/iam.workloadIdentityUser --member=principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/spiffe://id.acme.example/github/9919/2 --condition=None --format=none

# chain
gcloud iam service-accounts add-iam-policy-binding final@acme-prod.iam.gserviceaccount.com --project=acme-prod --role=roles/iam.serviceAccountTokenCreator --member=serviceAccount:acme-prod@appspot.gserviceaccount.com --condition=None --format=none

# chain
gcloud iam service-accounts add-iam-policy-binding middle@acme-prod.iam.gserviceaccount.com --project=acme-prod --role=roles/iam.serviceAccountTokenCreator --member=principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/spiffe://id.acme.example/github/9919/1 --condition=None --format=none

# payments
gcloud iam service-accounts add-iam-policy-binding reports@prod.acme.com.iam.gserviceaccount.com --project=acme.com:prod --role=roles/iam.workloadIdentityUser --member=principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/spiffe://id.acme.example/github/9919/1 --condition=None --format=none

# Without a service account: grant roles to these members.
# principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/spiffe://id.acme.example/github/9919/2 (direct)
