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
var asof=document.getElementById("asof"),chosen={};
function say(text,isLive){
if(live.textContent!==text){live.textContent=text}
asof.hidden=isLive;
}
// What somebody has opened or closed stays so; the rest is as the server says.
document.addEventListener("click",function(event){
var summary=event.target.closest("summary");
if(summary&&summary.parentNode.id){chosen[summary.parentNode.id]=!summary.parentNode.open}
});
function put(id,html){
var place=document.getElementById(id);
if(!place){return}
var had=document.activeElement,focus=place.contains(had)?had.id:"";
place.innerHTML=html;
place.querySelectorAll("details[id]").forEach(function(it){if(it.id in chosen){it.open=chosen[it.id]}});
if(focus){var again=document.getElementById(focus);if(again){again.focus()}}
if(id==="state"){
var word=place.querySelector(".badge"),rest=document.title.split(" – ").slice(1);
if(word){document.title=[word.textContent].concat(rest).join(" – ")}
}
}
function follow(){
var stream=new EventSource(home+"events?sections");
stream.onopen=function(){say("Live.",true)};
stream.addEventListener("section",function(event){
var section=JSON.parse(event.data);
put(section.id,section.html);
});
stream.addEventListener("bye",function(){say("The process is leaving; looking for the next one.",false)});
stream.onerror=function(){
say("Not live: the process does not answer. Trying again.",false);
if(stream.readyState===2){stream.close();setTimeout(follow,3000)}
};
}
follow();
})();
