// Owns the start of the page: the token out of the address first, then the theme, then the shell.
import { mount } from 'svelte';
import './styles/tokens.css';
import './styles/base.css';
import App from './App.svelte';
import { access } from '$lib/api/access.svelte';
import { clock } from '$lib/live/clock.svelte';
import { router } from '$lib/router.svelte';
import { theme } from '$lib/theme.svelte';

access.open();
theme.start();
clock.start();
router.start();

const target = document.getElementById('app');
if (target) mount(App, { target });
