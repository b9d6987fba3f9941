local job = held()
if not job then
  return reply({error = 'lost'})
end
job.lease_us, job.phase, job.fraction = whole(now + rules.lease_us), call.phase, call.fraction
save(job)
return reply({cancel = job.cancel or false})
