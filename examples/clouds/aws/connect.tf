# Made by: cambio connect aws-prod
# So that the roles below trust the assertions of https://id.acme.example. Review it before you apply it:
# - Each sub is one workload, compared for equality. Whoever is listed can assume the role; nobody else of this issuer can.
# - A role's own permissions are not here. Cambio only ever narrows them.
# - AWS must reach https://id.acme.example/.well-known/openid-configuration and the keys that it names, from the Internet.
# - hashicorp/aws 5.81 or newer: a public certificate needs no thumbprint, and older ones want one.

# Account 111122223333. If it has a provider for this URL already, import it, and keep its other audiences in the list.
resource "aws_iam_openid_connect_provider" "cambio" {
  url            = "https://id.acme.example"
  client_id_list = ["sts.amazonaws.com"]
}

# arn:aws:iam::111122223333:role/payments-deploy
# In the role: assume_role_policy = data.aws_iam_policy_document.cambio_payments_deploy.json
# To keep what it trusts today beside this: source_policy_documents = [...] in a document of both.
data "aws_iam_policy_document" "cambio_payments_deploy" {
  statement {
    sid     = "Cambio"
    effect  = "Allow"
    actions = ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.cambio.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "id.acme.example:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "id.acme.example:sub"
      values = [
        "spiffe://id.acme.example/github/9919/41881900", # payments-deploy
      ]
    }
  }
}
