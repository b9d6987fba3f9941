if ended_by('GIVE_BACK') then
  return reply({})
end
local job = held()
if not job then
  return reply({error = 'lost'})
end
job.attempt, job.ended_by = job.attempt - 1, 'GIVE_BACK'
if job.cancel then
  finish_waiting(job, 'cancelled', 'cancelled while it waited')
else
  job.state = 'queued'
  save(job)
  to_front(job)
end
return reply({})
