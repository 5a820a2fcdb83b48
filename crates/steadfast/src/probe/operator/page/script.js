"use strict";
(function(){
var body=document.body,home=body.dataset.home,live=document.getElementById("live");
// The start of a service may print an address with the token behind the hash, which no
// browser sends: it is posted as the form would, and taken out of the address at once.
var given=/^#token=([!-~]+)$/.exec(location.hash);
if(given){
history.replaceState(null,"",location.pathname+location.search);
var field=document.getElementById("sign-in-token");
if(field){
try{field.value=decodeURIComponent(given[1])}catch(e){field.value=given[1]}
field.form.submit();
return;
}
}
if(!live||!window.EventSource){return}
function say(text){if(live.textContent!==text){live.textContent=text}}
function put(id,html){
var place=document.getElementById(id);
if(!place){return}
var had=document.activeElement,focus=place.contains(had)?had.id:"";
var state={};
place.querySelectorAll("details[id]").forEach(function(it){state[it.id]=it.open});
place.innerHTML=html;
place.querySelectorAll("details[id]").forEach(function(it){if(it.id in state){it.open=state[it.id]}});
if(focus){var again=document.getElementById(focus);if(again){again.focus()}}
if(id==="state"){
var word=place.querySelector(".badge"),rest=document.title.split(" – ").slice(1);
if(word){document.title=[word.textContent].concat(rest).join(" – ")}
}
}
function follow(){
var stream=new EventSource(home+"events?sections");
stream.onopen=function(){say("Live.")};
stream.addEventListener("section",function(event){
var section=JSON.parse(event.data);
put(section.id,section.html);
});
stream.addEventListener("bye",function(){say("The process is leaving; looking for the next one.")});
stream.onerror=function(){
say("Not live: the process does not answer. Trying again.");
if(stream.readyState===2){stream.close();setTimeout(follow,3000)}
};
}
follow();
})();
