"use strict";
(function(){
var again=document.getElementById("again");
if(!again){return}
var left=Number(again.dataset.seconds),shown=again.querySelector("span"),button=again.querySelector("button");
again.hidden=false;
var timer=setInterval(function(){
left-=1;
if(left<=0){clearInterval(timer);location.reload();return}
shown.textContent=String(left);
},1000);
button.addEventListener("click",function(){
clearInterval(timer);
again.hidden=true;
document.querySelector("#now a").focus();
});
})();
