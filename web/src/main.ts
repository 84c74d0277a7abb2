/** The page: reads the view, shows the runs, keeps both in step. */
import "./style.css";
import { App } from "./app";

void new App().start();
