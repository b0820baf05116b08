output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "Private subnets, one a zone."
  value       = aws_subnet.private[*].id
}

output "security_groups" {
  description = "Ids of the security groups by what they protect."
  value = {
    functions = aws_security_group.functions.id
    proxy     = aws_security_group.proxy.id
    database  = aws_security_group.database.id
    cache     = aws_security_group.cache.id
    warehouse = aws_security_group.warehouse.id
  }
}
