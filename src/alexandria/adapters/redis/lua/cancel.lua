local foreign = load()
if foreign then
  return foreign
end
local job = jobs[call.id]
if job and job.state == 'running' then
  job.cancel = true
  save(job)
elseif job then
  finish_waiting(job, 'cancelled', 'cancelled while it waited')
end
return view(call.id)
