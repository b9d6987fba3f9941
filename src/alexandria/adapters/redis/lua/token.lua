-- A token above one that somebody has seen: the counter is behind it when the server lost its data.
if tonumber(redis.call('GET', TOKEN) or 0) < call.above then
  redis.call('SET', TOKEN, whole(call.above))
end
return reply({token = redis.call('INCR', TOKEN)})
